"""Stores that decode frames of videos when they are asked for."""
