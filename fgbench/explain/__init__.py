"""What selectors see in pictures of one's own: scores, boxes and crops, in pixels of the picture."""
