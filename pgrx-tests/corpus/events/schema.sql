-- The tables of the first steps: events with a country, users and orders of one tenant, an audit log.
CREATE TABLE events (
    event_id BIGSERIAL,
    tenant_id INT NOT NULL,
    event_type VARCHAR(50),
    event_data JSONB,
    created_at TIMESTAMPTZ DEFAULT timestamptz '2025-03-01 00:00+00',
    country_code CHAR(2),
    value NUMERIC,
    processed BOOLEAN DEFAULT false
);
-- @distribute events tenant_id
CREATE TABLE countries (country_code CHAR(2) PRIMARY KEY, country_name VARCHAR(100));
-- @reference countries
INSERT INTO countries VALUES ('DE', 'Deutschland'), ('CN', '中国'), ('FR', 'France'), ('ZZ', NULL);
CREATE TABLE users (user_id BIGSERIAL, tenant_id INT NOT NULL, username VARCHAR(100), PRIMARY KEY (tenant_id, user_id));
CREATE TABLE orders (order_id BIGSERIAL, tenant_id INT NOT NULL, user_id BIGINT, product_id INT, amount DECIMAL(10,2), PRIMARY KEY (tenant_id, order_id));
-- @distribute users tenant_id
-- @distribute orders tenant_id colocate users
CREATE TABLE audit_log (tenant_id INT, action TEXT, timestamp TIMESTAMPTZ);
-- @distribute audit_log tenant_id colocate events
CREATE TABLE products (product_id INT PRIMARY KEY, product_name TEXT);
-- @distribute products product_id
CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT);
-- @compare settings
INSERT INTO settings VALUES ('limit', '100'), ('type', 'login');
INSERT INTO events (tenant_id, event_type, event_data, created_at, country_code, value)
SELECT 100 + i % 40, (ARRAY['login', 'view', 'buy'])[1 + i % 3], jsonb_build_object('i', i), timestamptz '2024-12-20 00:00+00' + i * interval '3 hours',
       (ARRAY['DE', 'CN', 'US', NULL])[1 + i % 4], CASE WHEN i % 6 <> 0 THEN i / 3.0 END FROM generate_series(1, 300) i;
INSERT INTO users (tenant_id, username) SELECT 100 + i % 40, 'name' || i % 30 FROM generate_series(1, 90) i;
INSERT INTO orders (tenant_id, user_id, product_id, amount) SELECT 100 + i % 40, 1 + i % 90, i % 12, i * 1.25 FROM generate_series(1, 250) i;
INSERT INTO products SELECT i, 'product ' || i FROM generate_series(0, 9) i;
