"""Rooms: who hears them on this node, and the log behind them."""
