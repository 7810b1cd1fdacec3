"""What a run is and leaves in its folder."""
