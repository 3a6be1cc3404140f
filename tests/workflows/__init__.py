"""Workflows run by the real act on this machine, with stand-ins only for GitHub's servers and its own actions.

forge.py        events on a repository start its workflows, as GitHub would; what people do there
act.py          one workflow under act: results of jobs and steps, summary, annotations, outputs
triggers.py     would GitHub start this workflow for this event
permissions.py  what a job's token may do
repository.py   one git repository with branches, pull requests, forks and tags
artifacts.py    what the workflows uploaded
small.py        the generated repository, cut down until it trains in seconds
toy.py          toy workflows, for the tests of the harness itself
fixtures.py     what tests share: the baked repository, the base model, an adapter trained once
times.py        the table of times at the end of a session
stubs/          checkout, upload-artifact, download-artifact
"""
