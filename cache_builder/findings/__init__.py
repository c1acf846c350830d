"""What a build found out about its videos: damage, gaps, copies, and the verdict."""
