"""Messages to an MQTT broker."""
