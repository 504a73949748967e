-- What a model says by itself is no error of the server's, whatever it says.
select raise_error('[PERMISSION_DENIED] SQLSTATE: 40001 connection refused') as id
