"""The media side of providers: who makes images, video and audio there; one module or folder for each."""
