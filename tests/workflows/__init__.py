"""Workflows run by the real act on this machine, with stand-ins only for GitHub's servers and its own actions.

repository.py  one git repository with branches, pull requests, forks and tags
triggers.py    would GitHub start this workflow for this event
act.py         one workflow under act: results of jobs and steps, summary, annotations, outputs
forge.py       events on that repository start its workflows, as GitHub would
fixtures.py    the baked repository, the base model, a trained adapter; and the table of times
stubs/         checkout, upload-artifact, download-artifact
"""
