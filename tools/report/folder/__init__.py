"""A folder of videos before anything is built: what its packets and a few decoded frames show."""
