"""Places: how a run reaches a machine. Profiles, jobs, submission; the command line puts everything together."""
