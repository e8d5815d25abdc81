-- The examples of the user's guide, sections 3, 5 and 6, in their order. What differs from the text
-- is marked: `-- @error CODE` with the reason, or a comment before a preparing statement that the
-- text leaves out. `-- @expect VALUE` checks the first value, `-- @plan TEXT` a line of EXPLAIN.

-- 3.3 The catalogs.
SELECT * FROM pg_dist_node;
SELECT * FROM pg_dist_partition;
SELECT * FROM pg_dist_shard;
SELECT * FROM pg_dist_placement;

-- 5.1 A distributed table.
CREATE TABLE events (
    event_id BIGSERIAL,
    tenant_id INT NOT NULL,
    event_type VARCHAR(50),
    event_data JSONB,
    created_at TIMESTAMPTZ DEFAULT NOW()
);
SELECT create_distributed_table('events', 'tenant_id');
-- @expect 32
SELECT COUNT(*) FROM pg_dist_shard WHERE logicalrelid = 'events'::regclass;
-- A table is distributed once: the text shows the second call as an alternative to the first.
-- @error 42809
SELECT create_distributed_table('events', 'tenant_id', shard_count := 64);
CREATE TABLE events_64 (LIKE events INCLUDING ALL);
SELECT create_distributed_table('events_64', 'tenant_id', shard_count := 64);
-- @expect 64
SELECT COUNT(*) FROM pg_dist_shard WHERE logicalrelid = 'events_64'::regclass;

-- 5.1 A reference table.
CREATE TABLE countries (
    country_code CHAR(2) PRIMARY KEY,
    country_name VARCHAR(100)
);
SELECT create_reference_table('countries');
INSERT INTO countries VALUES ('DE', 'Germany'), ('CN', 'China');
-- The text's table has no country_code yet.
-- @error 42703
SELECT e.*, c.country_name
FROM events e
JOIN countries c ON e.country_code = c.country_code
WHERE e.tenant_id = 123;
ALTER TABLE events ADD COLUMN country_code CHAR(2);
INSERT INTO events (tenant_id, event_type, created_at, country_code) VALUES (123, 'login', '2025-02-01', 'CN'), (124, 'login', '2025-02-01', 'DE');
-- @expect 1
SELECT count(*) FROM (SELECT e.*, c.country_name
FROM events e
JOIN countries c ON e.country_code = c.country_code
WHERE e.tenant_id = 123) q;
SELECT e.*, c.country_name
FROM events e
JOIN countries c ON e.country_code = c.country_code
WHERE e.tenant_id = 123;
-- @plan Task Count: 1
EXPLAIN SELECT e.*, c.country_name
FROM events e
JOIN countries c ON e.country_code = c.country_code
WHERE e.tenant_id = 123;

-- 5.1 Co-location.
CREATE TABLE users (
    user_id BIGSERIAL PRIMARY KEY,
    tenant_id INT NOT NULL,
    username VARCHAR(100)
);
CREATE TABLE orders (
    order_id BIGSERIAL PRIMARY KEY,
    tenant_id INT NOT NULL,
    user_id BIGINT,
    amount DECIMAL(10,2)
);
-- A primary key is enforced inside a shard, so it must contain the distribution column.
-- @error 0A000
SELECT create_distributed_table('users', 'tenant_id');
ALTER TABLE users DROP CONSTRAINT users_pkey, ADD PRIMARY KEY (tenant_id, user_id);
ALTER TABLE orders DROP CONSTRAINT orders_pkey, ADD PRIMARY KEY (tenant_id, order_id);
SELECT create_distributed_table('users', 'tenant_id');
SELECT create_distributed_table('orders', 'tenant_id', colocate_with := 'users');
SELECT colocationid FROM pg_dist_partition
WHERE logicalrelid IN ('users'::regclass, 'orders'::regclass);
-- @expect 1
SELECT count(DISTINCT colocationid) FROM pg_dist_partition
WHERE logicalrelid IN ('users'::regclass, 'orders'::regclass);
INSERT INTO users (tenant_id, username) VALUES (123, 'ann'), (123, 'bob'), (200, 'eve');
INSERT INTO orders (tenant_id, user_id, amount) VALUES (123, 1, 10.5), (123, 1, 2), (123, 2, 3), (200, 3, 4);
-- @expect ann
SELECT u.username, SUM(o.amount) AS total
FROM users u
JOIN orders o ON u.tenant_id = o.tenant_id AND u.user_id = o.user_id
WHERE u.tenant_id = 123
GROUP BY u.username ORDER BY total DESC;
SELECT u.username, SUM(o.amount) AS total
FROM users u
JOIN orders o ON u.tenant_id = o.tenant_id AND u.user_id = o.user_id
WHERE u.tenant_id = 123
GROUP BY u.username;

-- 5.2 Keys to avoid: they work.
CREATE TABLE bad_table (
    id SERIAL PRIMARY KEY,
    data TEXT
);
SELECT create_distributed_table('bad_table', 'id');
-- The table of the text is distributed already, and has no column status.
CREATE TABLE orders_by_status (order_id BIGSERIAL, user_id BIGINT, status TEXT);
SELECT create_distributed_table('orders_by_status', 'status');
CREATE TABLE orders_by_user (order_id BIGSERIAL, user_id BIGINT, status TEXT);
SELECT create_distributed_table('orders_by_user', 'user_id');

-- 5.3 Shards. pg_dist_placement has no node names: pg_dist_shard_placement has.
-- @error 42703
SELECT
    s.shardid,
    s.shardminvalue,
    s.shardmaxvalue,
    p.nodename,
    p.nodeport,
    pg_size_pretty(citus_shard_size(s.shardid)) AS shard_size
FROM pg_dist_shard s
JOIN pg_dist_placement p ON s.shardid = p.shardid
WHERE s.logicalrelid = 'events'::regclass
ORDER BY s.shardid;
SELECT
    s.shardid,
    s.shardminvalue,
    s.shardmaxvalue,
    p.nodename,
    p.nodeport,
    pg_size_pretty(citus_shard_size(s.shardid)) AS shard_size
FROM pg_dist_shard s
JOIN pg_dist_shard_placement p ON s.shardid = p.shardid
WHERE s.logicalrelid = 'events'::regclass
ORDER BY s.shardid;
-- The text's shardid is in both tables.
-- @error 42702,42703
SELECT
    nodename,
    COUNT(*) AS shard_count,
    pg_size_pretty(SUM(citus_shard_size(shardid))) AS total_size
FROM pg_dist_shard s
JOIN pg_dist_placement p ON s.shardid = p.shardid
WHERE s.logicalrelid = 'events'::regclass
GROUP BY nodename;
SELECT
    nodename,
    COUNT(*) AS shard_count,
    pg_size_pretty(SUM(citus_shard_size(s.shardid))) AS total_size
FROM pg_dist_shard s
JOIN pg_dist_shard_placement p ON s.shardid = p.shardid
WHERE s.logicalrelid = 'events'::regclass
GROUP BY nodename;

-- 6.1 Routing.
-- @expect 1
SELECT count(*) FROM (SELECT * FROM events
WHERE tenant_id = 123
  AND event_type = 'login'
  AND created_at > '2025-01-01') q;
SELECT * FROM events
WHERE tenant_id = 123
  AND event_type = 'login'
  AND created_at > '2025-01-01';
-- @plan Custom Scan (Citus Router)
EXPLAIN (VERBOSE)
SELECT * FROM events WHERE tenant_id = 123;
-- @plan Task Count: 1
EXPLAIN (VERBOSE)
SELECT * FROM events WHERE tenant_id = 123;
-- @plan Tasks Shown: All
EXPLAIN (VERBOSE)
SELECT * FROM events WHERE tenant_id = 123;
-- @plan ->  Task
EXPLAIN (VERBOSE)
SELECT * FROM events WHERE tenant_id = 123;
-- @plan Node: host=
EXPLAIN (VERBOSE)
SELECT * FROM events WHERE tenant_id = 123;
-- @plan Seq Scan on
EXPLAIN (VERBOSE)
SELECT * FROM events WHERE tenant_id = 123;
-- @plan tenant_id = 123)
EXPLAIN (VERBOSE)
SELECT * FROM events WHERE tenant_id = 123;
-- @expect login
SELECT event_type, COUNT(*)
FROM events
WHERE created_at > '2025-01-01'
GROUP BY event_type;
-- @plan Custom Scan (Citus Real-Time)
EXPLAIN
SELECT event_type, COUNT(*)
FROM events
WHERE created_at > '2025-01-01'
GROUP BY event_type;
-- @plan Task Count: 32
EXPLAIN
SELECT event_type, COUNT(*)
FROM events
WHERE created_at > '2025-01-01'
GROUP BY event_type;
-- @plan HashAggregate
EXPLAIN
SELECT event_type, COUNT(*)
FROM events
WHERE created_at > '2025-01-01'
GROUP BY event_type;

-- 6.2 Joins.
SELECT u.username, COUNT(o.order_id) AS order_count
FROM users u
JOIN orders o ON u.tenant_id = o.tenant_id AND u.user_id = o.user_id
WHERE u.tenant_id = 123
GROUP BY u.username;
-- @plan Citus Router
EXPLAIN SELECT u.username, COUNT(o.order_id) AS order_count
FROM users u
JOIN orders o ON u.tenant_id = o.tenant_id AND u.user_id = o.user_id
WHERE u.tenant_id = 123
GROUP BY u.username;
-- The text's orders have no product_id, and products are made in another section.
ALTER TABLE orders ADD COLUMN product_id INT DEFAULT 1;
CREATE TABLE products (product_id INT PRIMARY KEY, product_name TEXT);
SELECT create_distributed_table('products', 'product_id');
INSERT INTO products VALUES (1, 'thing'), (2, 'other');
SELECT u.username, p.product_name, o.amount
FROM users u
JOIN orders o ON u.user_id = o.user_id
JOIN products p ON o.product_id = p.product_id;
-- @expect 4
SELECT count(*) FROM (SELECT u.username, p.product_name, o.amount
FROM users u
JOIN orders o ON u.user_id = o.user_id
JOIN products p ON o.product_id = p.product_id) q;

-- 6.3 Aggregation in two phases. The text's events have no value.
ALTER TABLE events ADD COLUMN value NUMERIC DEFAULT 5;
SELECT tenant_id, DATE(created_at), COUNT(*), AVG(value)
FROM events
WHERE created_at > '2025-01-01'
GROUP BY tenant_id, DATE(created_at);
-- @expect 2
SELECT count(*) FROM (SELECT tenant_id, DATE(created_at), COUNT(*), AVG(value)
FROM events
WHERE created_at > '2025-01-01'
GROUP BY tenant_id, DATE(created_at)) q;

-- 6.4 Transactions. The text's events have no processed, and audit_log is not made in it.
ALTER TABLE events ADD COLUMN processed BOOLEAN DEFAULT false;
CREATE TABLE audit_log (tenant_id INT, action TEXT, timestamp TIMESTAMPTZ);
SELECT create_distributed_table('audit_log', 'tenant_id', colocate_with := 'events');
INSERT INTO events (event_id, tenant_id) VALUES (456, 123), (100, 1), (200, 2), (300, 3);
BEGIN;
UPDATE events SET processed = true
WHERE tenant_id = 123 AND event_id = 456;
INSERT INTO audit_log (tenant_id, action, timestamp)
VALUES (123, 'event_processed', NOW());
COMMIT;
BEGIN;
UPDATE events SET processed = true
WHERE event_id IN (100, 200, 300);
COMMIT;
-- @expect 4
SELECT count(*) FROM events WHERE processed;
-- @expect 1
SELECT count(*) FROM audit_log;
