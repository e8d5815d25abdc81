-- The dashboard of one tenant.
-- @ordered
SELECT DATE(created_at) AS date, event_type, COUNT(*) AS event_count
FROM user_events
WHERE tenant_id = 7 AND created_at >= timestamptz '2025-06-05' - INTERVAL '30 days'
GROUP BY DATE(created_at), event_type
ORDER BY date, event_type;
-- Analysis over all tenants.
SELECT t.plan, COUNT(DISTINCT u.tenant_id) AS tenant_count, COUNT(DISTINCT u.user_id) AS total_users, SUM(e.event_count) AS total_events
FROM tenants t
LEFT JOIN users u ON t.tenant_id = u.tenant_id
LEFT JOIN (
    SELECT tenant_id, COUNT(*) AS event_count FROM user_events
    WHERE created_at >= timestamptz '2025-06-10' - INTERVAL '7 days' GROUP BY tenant_id
) e ON t.tenant_id = e.tenant_id
GROUP BY t.plan;
SELECT * FROM users WHERE tenant_id = 7 AND user_id = 3;
SELECT * FROM users WHERE tenant_id = 3;
SELECT * FROM users WHERE tenant_id = 999;
SELECT count(*) FROM users;
SELECT count(*), count(email), min(username), max(created_at) FROM users;
SELECT tenant_id, count(*) FROM users GROUP BY tenant_id;
SELECT tenant_id, count(*) FROM users GROUP BY tenant_id HAVING count(*) > 10;
-- @ordered
SELECT tenant_id, count(*) AS n FROM users GROUP BY 1 ORDER BY n DESC, 1 LIMIT 3;
-- @ordered
SELECT user_id, username FROM users ORDER BY user_id LIMIT 10 OFFSET 5;
-- @ordered
SELECT * FROM users ORDER BY email DESC NULLS LAST, user_id LIMIT 7;
-- @ordered
SELECT * FROM users ORDER BY email NULLS FIRST, user_id DESC LIMIT 30;
SELECT * FROM users WHERE tenant_id IN (1, 2, 3) AND user_id < 40;
SELECT * FROM users WHERE tenant_id = ANY (ARRAY[4, 5]) AND email IS NULL;
SELECT * FROM users WHERE tenant_id = 1 OR tenant_id = 2;
SELECT * FROM users WHERE tenant_id = 1 OR user_id = 50;
SELECT * FROM users WHERE (tenant_id = 1 AND user_id < 20) OR (tenant_id = 2 AND user_id > 100);
SELECT * FROM users WHERE tenant_id BETWEEN 2 AND 4 AND user_id > 90;
SELECT * FROM users WHERE tenant_id <> 7 AND user_id < 20;
SELECT * FROM users WHERE NOT (tenant_id = 7) AND user_id < 20;
SELECT u.username, e.event_type, e.event_data->>'amount' AS amount
FROM users u JOIN user_events e ON u.tenant_id = e.tenant_id AND u.user_id = e.user_id WHERE u.tenant_id = 5;
SELECT u.username, count(*) FROM users u JOIN user_events e USING (tenant_id, user_id) GROUP BY u.username;
SELECT count(*) FROM users NATURAL JOIN user_events;
SELECT u.username FROM users u LEFT JOIN user_events e ON u.tenant_id = e.tenant_id AND u.user_id = e.user_id WHERE e.event_id IS NULL;
SELECT t.tenant_name, u.username FROM tenants t JOIN users u ON u.tenant_id = t.tenant_id WHERE t.plan = 'pro';
SELECT t.tenant_name, count(u.user_id) FROM tenants t LEFT JOIN users u ON u.tenant_id = t.tenant_id GROUP BY t.tenant_name;
SELECT t.tenant_name, count(u.user_id) FROM users u RIGHT JOIN tenants t ON u.tenant_id = t.tenant_id GROUP BY 1;
SELECT t.tenant_name, u.username FROM tenants t FULL JOIN users u ON u.tenant_id = t.tenant_id AND u.user_id < 10;
SELECT * FROM users u WHERE EXISTS (SELECT 1 FROM user_events e WHERE e.tenant_id = u.tenant_id AND e.user_id = u.user_id AND event_type = 'purchase');
SELECT count(*) FROM users u WHERE NOT EXISTS (SELECT 1 FROM user_events e WHERE e.tenant_id = u.tenant_id AND e.user_id = u.user_id);
SELECT count(*) FROM users WHERE user_id IN (SELECT user_id FROM user_events WHERE event_type = 'login');
SELECT count(*) FROM users WHERE user_id NOT IN (SELECT user_id FROM user_events WHERE event_type = 'login');
SELECT u.user_id, (SELECT count(*) FROM user_events e WHERE e.tenant_id = u.tenant_id AND e.user_id = u.user_id) AS n FROM users u;
SELECT u.user_id, (SELECT max(event_id) FROM user_events e WHERE e.user_id = u.user_id) AS last FROM users u WHERE u.tenant_id = 7;
SELECT u.user_id, l.event_type FROM users u, LATERAL (
    SELECT event_type FROM user_events e WHERE e.tenant_id = u.tenant_id AND e.user_id = u.user_id ORDER BY event_id LIMIT 1) l;
SELECT u.user_id, l.event_id FROM users u LEFT JOIN LATERAL (
    SELECT event_id FROM user_events e WHERE e.user_id = u.user_id ORDER BY event_id DESC LIMIT 1) l ON true;
SELECT event_data->>'amount' AS amount, count(*) FROM user_events GROUP BY 1;
SELECT event_type, sum((event_data->>'amount')::int), avg((event_data->>'amount')::numeric) FROM user_events GROUP BY event_type;
SELECT count(*) FROM user_events WHERE event_data @> '{"n": 2}';
SELECT tenant_id, jsonb_agg(event_data ORDER BY event_id) FROM user_events WHERE tenant_id IN (1, 2) GROUP BY tenant_id;
SELECT date_trunc('day', created_at) AS d, count(*), count(DISTINCT user_id) FROM user_events GROUP BY d;
SELECT tenant_id, user_id, row_number() OVER (PARTITION BY tenant_id ORDER BY user_id) FROM users;
SELECT user_id, rank() OVER (ORDER BY created_at DESC), lag(user_id) OVER (ORDER BY created_at) FROM users;
SELECT tenant_id, event_type, count(*), sum(count(*)) OVER (PARTITION BY tenant_id) FROM user_events GROUP BY 1, 2;
SELECT DISTINCT tenant_id FROM user_events;
SELECT DISTINCT event_type FROM user_events;
-- @ordered
SELECT DISTINCT ON (tenant_id) tenant_id, user_id, created_at FROM users ORDER BY tenant_id, created_at DESC;
-- @ordered
SELECT DISTINCT ON (event_type) event_type, event_id FROM user_events ORDER BY event_type, event_id DESC;
SELECT plan, event_type, count(*) FROM tenants JOIN user_events USING (tenant_id) GROUP BY GROUPING SETS ((plan), (event_type), ());
SELECT tenant_id, event_type, count(*), grouping(tenant_id, event_type) FROM user_events GROUP BY ROLLUP (tenant_id, event_type);
SELECT tenant_id % 3 AS m, event_type, sum(event_id) FROM user_events GROUP BY CUBE (1, 2);
WITH active AS (SELECT tenant_id, count(*) AS n FROM user_events GROUP BY tenant_id)
SELECT t.tenant_name, a.n FROM tenants t JOIN active a USING (tenant_id) WHERE a.n > 10;
WITH a AS MATERIALIZED (SELECT * FROM users WHERE tenant_id = 7), b AS NOT MATERIALIZED (SELECT * FROM a WHERE user_id < 50)
SELECT count(*) FROM a, b WHERE a.user_id = b.user_id;
SELECT tenant_id FROM users UNION SELECT tenant_id FROM tenants;
SELECT tenant_id FROM tenants EXCEPT SELECT tenant_id FROM users;
SELECT user_id FROM users WHERE tenant_id = 7 INTERSECT SELECT user_id FROM user_events WHERE event_type = 'click';
SELECT user_id, 'u' AS kind FROM users WHERE user_id < 5 UNION ALL SELECT user_id, 'e' FROM user_events WHERE event_id < 5;
-- @ordered
(SELECT user_id FROM users ORDER BY user_id DESC LIMIT 3) UNION ALL (SELECT user_id FROM users ORDER BY user_id LIMIT 2) ORDER BY 1;
SELECT count(*) FROM tenants;
SELECT * FROM tenants WHERE tenant_id = 3;
SELECT * FROM (SELECT tenant_id, count(*) AS c FROM users GROUP BY tenant_id) s WHERE s.c > (SELECT avg(c) FROM (SELECT count(*) AS c FROM users GROUP BY tenant_id) x);
-- @params 7, 3
-- @params 1, 1
-- @params 2, 17
-- @params NULL, 3
-- @params 7, 6
-- @params 7, 9
-- @params 999, 9
SELECT username, email FROM users WHERE tenant_id = $1 AND user_id = $2;
-- @params 7
-- @params 1
-- @params 2
-- @params 3
-- @params 4
-- @params 5
-- @params 6
SELECT event_type, count(*) FROM user_events WHERE tenant_id = $1::int GROUP BY event_type;
-- @params 'login'
-- @params 'nothing'
-- @params NULL
SELECT count(*), max(event_id) FROM user_events WHERE event_type = $1;
-- @params '{1,2,3}'
-- @params '{}'
-- @params NULL
SELECT count(*) FROM users WHERE tenant_id = ANY ($1::int[]);
