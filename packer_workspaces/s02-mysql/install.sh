#!/usr/bin/env bash
# Writes the database's configuration below the home folder.
set -euo pipefail

folder="$HOME/mysql"
mkdir -p "$folder/data"
cat > "$folder/my.cnf" <<CNF
# MySQL ${MYSQL_VERSION}
[mysqld]
datadir = $folder/data
innodb_buffer_pool_size = 256M
CNF
echo "MySQL ${MYSQL_VERSION} is configured in $folder"
