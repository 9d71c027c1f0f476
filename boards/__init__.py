"""Boards: platform, clock plan and limits, one file a board."""
