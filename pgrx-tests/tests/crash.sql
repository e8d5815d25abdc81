CREATE TABLE accounts (k INT PRIMARY KEY, balance BIGINT);
SELECT create_distributed_table('accounts', 'k', shard_count := 4);
CREATE TABLE entries (k INT, tx BIGINT, what TEXT);
SELECT create_distributed_table('entries', 'k', colocate_with := 'accounts');
CREATE TABLE marks (tx BIGINT PRIMARY KEY);
SELECT create_reference_table('marks');
INSERT INTO accounts SELECT i, 1000 FROM generate_series(1, 40) i;
