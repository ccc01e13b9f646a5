"""Measuring networks: J and F, the robot, interactive rounds."""
