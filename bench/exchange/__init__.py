"""Results of other tools into a run folder, a run folder into their formats, two runs side by side."""
