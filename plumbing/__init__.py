"""Files that are whole or not there, command lines, several processes."""
