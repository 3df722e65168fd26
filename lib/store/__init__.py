"""What takes long is made once: a call is kept under its code and its arguments, sealed, and verified when read."""
