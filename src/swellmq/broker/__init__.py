"""What an MQTT server does: rules and state. No sockets, no clock, no database: bytes and time are arguments."""
