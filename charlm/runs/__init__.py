"""The folder that a run leaves: what lies in it, how it is found and read, and what may change when it resumes."""
