INSERT INTO metrics_hourly
SELECT device_id, metric_name, date_trunc('hour', timestamp), AVG(metric_value), MAX(metric_value), MIN(metric_value), COUNT(*)
FROM metrics WHERE metric_value IS NOT NULL GROUP BY device_id, metric_name, date_trunc('hour', timestamp);
INSERT INTO metrics_hourly
SELECT device_id, metric_name, date_trunc('hour', timestamp), AVG(metric_value), MAX(metric_value), MIN(metric_value), COUNT(*) + 1
FROM metrics WHERE device_id IN (1, 2) GROUP BY 1, 2, 3
ON CONFLICT (device_id, metric_name, hour) DO UPDATE SET sample_count = excluded.sample_count + metrics_hourly.sample_count;
INSERT INTO metrics (device_id, metric_name, metric_value) VALUES (1, 'cpu', 'NaN'), (2, 'cpu', 'Infinity'), (3, 'cpu', '-Infinity') RETURNING device_id, metric_value, timestamp;
SELECT device_id, max(metric_value), min(metric_value), sum(metric_value) FROM metrics WHERE device_id IN (1, 2, 3) AND metric_id > 400 GROUP BY device_id;
-- @ordered
SELECT metric_value FROM metrics WHERE metric_id > 395 ORDER BY metric_value, metric_id;
SELECT count(*) FROM metrics WHERE metric_value = 'NaN';
DELETE FROM metrics WHERE metric_value = 'NaN' OR metric_value = 'Infinity' OR metric_value = '-Infinity';
UPDATE metrics SET metric_value = metric_value * t.warn FROM thresholds t WHERE t.metric_name = metrics.metric_name AND metrics.device_id = 4;
UPDATE metrics m SET tags = tags || '{"hot": true}' WHERE metric_value > (SELECT warn FROM thresholds t WHERE t.metric_name = m.metric_name);
DELETE FROM metrics WHERE timestamp < timestamptz '2025-01-15 06:00+00' RETURNING metric_id;
UPDATE devices SET labels = array_append(labels, 'upd'), lat = lat + 1 WHERE device_id IN (SELECT device_id FROM metrics WHERE metric_name = 'disk');
DELETE FROM metrics_hourly WHERE NOT EXISTS (SELECT 1 FROM metrics m WHERE m.device_id = metrics_hourly.device_id AND date_trunc('hour', m.timestamp) = metrics_hourly.hour);
COPY metrics (device_id, metric_name, metric_value, timestamp) FROM STDIN;
1	cpu	1.5	2025-02-01 00:00:00+00
2	mem	\N	2025-02-01 00:00:01+00
14	disk	0.1	2025-02-01 02:00:02+02
\.
COPY (SELECT device_id, metric_name, metric_value FROM metrics WHERE timestamp >= timestamptz '2025-02-01 00:00+00') TO STDOUT WITH (FORMAT csv, HEADER);
-- @ordered
COPY (SELECT metric_id, device_id FROM metrics ORDER BY metric_id DESC LIMIT 5) TO STDOUT;
-- @error 22P02
COPY metrics (device_id, metric_value) FROM STDIN WITH (FORMAT csv);
1,1.0
2,2.0
3,what
\.
SELECT count(*) FROM metrics;
