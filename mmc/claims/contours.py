"""Claims on contours."""
