"""What people bring along from mosquitto: its configuration file."""
