select {{ "1" if var('ds', '') else "0" }} as beat
