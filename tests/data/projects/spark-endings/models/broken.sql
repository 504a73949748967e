selec 1 as id
