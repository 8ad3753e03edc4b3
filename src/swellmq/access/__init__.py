"""Access control that is ready to use: give an object of one of these classes to `Broker(access=...)`."""
