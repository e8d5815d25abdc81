SELECT e.*, c.country_name FROM events e JOIN countries c ON e.country_code = c.country_code WHERE e.tenant_id = 123;
SELECT u.username, SUM(o.amount) AS total FROM users u JOIN orders o ON u.tenant_id = o.tenant_id AND u.user_id = o.user_id WHERE u.tenant_id = 123 GROUP BY u.username;
SELECT * FROM events WHERE tenant_id = 123 AND event_type = 'login' AND created_at > '2025-01-01';
SELECT event_type, COUNT(*) FROM events WHERE created_at > '2025-01-01' GROUP BY event_type;
SELECT u.username, COUNT(o.order_id) AS order_count FROM users u JOIN orders o ON u.tenant_id = o.tenant_id AND u.user_id = o.user_id WHERE u.tenant_id = 123 GROUP BY u.username;
SELECT u.username, p.product_name, o.amount FROM users u JOIN orders o ON u.user_id = o.user_id JOIN products p ON o.product_id = p.product_id;
SELECT tenant_id, DATE(created_at), COUNT(*), AVG(value) FROM events WHERE created_at > '2025-01-01' GROUP BY tenant_id, DATE(created_at);
BEGIN;
UPDATE events SET processed = true WHERE tenant_id = 123 AND event_id = 23;
INSERT INTO audit_log (tenant_id, action, timestamp) VALUES (123, 'event_processed', '2025-03-01 00:00+00');
COMMIT;
BEGIN;
UPDATE events SET processed = true WHERE event_id IN (100, 200, 300);
SELECT tenant_id, processed FROM events WHERE event_id IN (100, 200, 300);
COMMIT;
SELECT c.country_name, count(*), sum(e.value) FROM events e LEFT JOIN countries c USING (country_code) GROUP BY c.country_name;
SELECT c.country_code, count(e.event_id) FROM countries c LEFT JOIN events e USING (country_code) GROUP BY c.country_code;
SELECT count(*) FROM events e WHERE country_code NOT IN (SELECT country_code FROM countries);
SELECT count(*) FROM events e WHERE NOT EXISTS (SELECT 1 FROM countries c WHERE c.country_code = e.country_code);
SELECT count(*) FROM events WHERE country_code = 'DE ';
SELECT count(*) FROM events WHERE created_at > '2025-01-01' AND event_type = (SELECT value FROM settings WHERE key = 'type');
SELECT s.key, count(e.event_id) FROM settings s LEFT JOIN events e ON e.event_type = s.value GROUP BY s.key;
SELECT * FROM events, settings WHERE tenant_id = 110 AND key = 'limit' AND event_id < settings.value::int;
SELECT count(*) FROM settings WHERE value::text IN (SELECT event_type FROM events);
INSERT INTO settings SELECT 'count', count(*)::text FROM events;
UPDATE settings SET value = (SELECT max(event_id)::text FROM events) WHERE key = 'limit';
DELETE FROM settings WHERE EXISTS (SELECT 1 FROM events WHERE event_type = settings.value);
INSERT INTO audit_log SELECT tenant_id, event_type, created_at FROM events WHERE event_type = 'buy';
INSERT INTO audit_log SELECT tenant_id, 'count ' || count(*), max(created_at) FROM events GROUP BY tenant_id RETURNING *;
INSERT INTO audit_log SELECT tenant_id + 1, 'moved', timestamp FROM audit_log WHERE tenant_id < 120;
INSERT INTO events (tenant_id, event_data) SELECT i, '{"action":"test"}' FROM generate_series(1, 50) i;
COPY events (tenant_id, event_data) FROM STDIN;
1	{"action":"test"}
2	{"action":"test"}
\.
DO $$
BEGIN
    FOR i IN 1..30 LOOP
        INSERT INTO events (tenant_id, event_data) VALUES (i, '{"action":"loop"}');
    END LOOP;
END $$;
DELETE FROM audit_log WHERE tenant_id = 105;
SELECT count(*) FROM audit_log;
UPDATE events SET value = coalesce(value, 0) + 1 WHERE tenant_id BETWEEN 100 AND 110 AND country_code IS NULL;
