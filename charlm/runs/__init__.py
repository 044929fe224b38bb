"""Run folders: their files, how they are found and read, and which settings may change when a run resumes."""
