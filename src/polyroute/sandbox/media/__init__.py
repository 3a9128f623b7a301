"""The providers of pictures, films and sound: their jobs, their callbacks and the real files that they make."""
