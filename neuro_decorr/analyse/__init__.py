"""An honest picture of the correlations in a recording: the command `neuro-decorr analyse` and what it is made of."""
