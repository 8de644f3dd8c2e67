"""What is drawn as curves? SVG that follows the colours of the page."""
