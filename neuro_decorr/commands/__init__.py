"""Commands of `neuro-decorr`. Each imports its packages when it runs, so that no command needs those of another."""

from neuro_decorr.commands.application import application as application
