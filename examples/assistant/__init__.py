"""An assistant for rooms: what a language model answers grows as a message for all members of the room.

It imports its own modules relatively, so the folder works under any name and at any place.
"""
