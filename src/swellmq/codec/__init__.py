"""Bytes to MQTT packets and back. No state, no clock, no I/O."""
