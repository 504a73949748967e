"""dbt's Python API: load a project, ask for a selection, run a command.

Nothing else imports dbt. Beside the public ``dbtRunner`` this uses a few things inside dbt, in one
function each:

* :func:`.loading.load_project` replaces the body of dbt's commands by one that keeps what the
  command's decorators have loaded. So a manifest is parsed under the flags, vars and name of the
  very command that will use it, which ``dbt parse`` could not.
* :func:`.read_recorder.recording` has dbt's Jinja say, while it parses, which flags, vars and other
  values of the command it reads, and :func:`.partial_parsing.choosing` lets dbt begin with what an
  earlier run has parsed where all of them are the same.
* :func:`.flag_files.check_flag_files` reads what dbt reads of flags before it does anything else,
  and says what dbt would not.
* :func:`.selecting.select_nodes` stops a command between its selection and its first statement. So
  it is dbt's own selection that is validated, not a second implementation of it.
* :func:`.running.run_command` gives a shared manifest the ID of the invocation that uses it, takes
  nodes that are done out of the command's selection, and learns what is left of it, since that has
  to have results. dbt's own ``retry`` would forget ``--warn-error`` and what was absent from the
  results. Of a build it counts what the project keeps out of what the command line asks for.
* :func:`.absent_state.assuming_changes` lets selectors find everything changed where there is no
  state to compare with.
* :func:`.emptiness.allowing_emptiness` keeps ``--warn-error`` from making an error of a selection
  that names nothing.
"""
