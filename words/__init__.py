"""Words become a scene of drawings, and a scene a picture and a video."""
