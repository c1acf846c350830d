"""`cache-report`: a cache, or a folder of videos before anything is built, as one page of HTML."""
