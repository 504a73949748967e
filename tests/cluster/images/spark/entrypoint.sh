#!/bin/sh
# Starts the directory, then becomes the server.
set -eu

mkdir -p /tmp/directory
cat > /tmp/slapd.conf <<END
include /etc/ldap/schema/core.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile /tmp/slapd.pid
database mdb
suffix "dc=example"
rootdn "uid=analytics,dc=example"
rootpw $PASSWORD
directory /tmp/directory
END
chmod 600 /tmp/slapd.conf
/usr/sbin/slapd -f /tmp/slapd.conf -h ldap://127.0.0.1:3890
export HADOOP_USER_NAME=analytics
# More tasks at a time than processors: some of the tests' never end.
exec /opt/spark/bin/spark-submit \
  --class org.apache.spark.sql.hive.thriftserver.HiveThriftServer2 \
  --master 'local[8]' --driver-memory 1g \
  --conf spark.sql.warehouse.dir=/data/warehouse \
  --conf spark.local.dir=/tmp \
  spark-internal
