SELECT device_id, metric_name, AVG(metric_value) AS avg_value, MAX(metric_value) AS max_value, MIN(metric_value) AS min_value, COUNT(*) AS sample_count
FROM metrics WHERE timestamp >= timestamptz '2025-01-16 00:00+00' - INTERVAL '1 hour' GROUP BY device_id, metric_name;
-- @digits 12
SELECT metric_name, AVG(metric_value), SUM(metric_value), COUNT(metric_value) FROM metrics GROUP BY metric_name;
-- @digits 10
SELECT stddev(metric_value), variance(metric_value), stddev_pop(metric_value), var_pop(metric_value), stddev_samp(metric_value), var_samp(metric_value) FROM metrics;
-- @digits 10
SELECT metric_name, stddev(metric_value), variance(metric_value) FROM metrics GROUP BY metric_name;
-- @digits 9
SELECT corr(metric_value, metric_id), covar_pop(metric_value, metric_id), covar_samp(metric_value, metric_id), regr_slope(metric_value, metric_id),
       regr_intercept(metric_value, metric_id), regr_r2(metric_value, metric_id), regr_count(metric_value, metric_id), regr_avgx(metric_value, metric_id),
       regr_avgy(metric_value, metric_id), regr_sxx(metric_value, metric_id), regr_syy(metric_value, metric_id), regr_sxy(metric_value, metric_id) FROM metrics;
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY metric_value), percentile_disc(0.9) WITHIN GROUP (ORDER BY metric_value), mode() WITHIN GROUP (ORDER BY metric_name) FROM metrics;
SELECT device_id, percentile_cont(ARRAY[0.25, 0.75]) WITHIN GROUP (ORDER BY metric_value) FROM metrics GROUP BY device_id;
SELECT metric_name, rank(50.0) WITHIN GROUP (ORDER BY metric_value) FROM metrics GROUP BY metric_name;
SELECT date_trunc('hour', timestamp) AS h, count(*) FROM metrics GROUP BY h HAVING count(*) > 5;
SELECT time_bucket.start, count(m.metric_id) FROM generate_series(timestamptz '2025-01-15 00:00+00', timestamptz '2025-01-18 00:00+00', interval '12 hours') time_bucket(start)
LEFT JOIN metrics m ON m.timestamp >= start AND m.timestamp < start + interval '12 hours' GROUP BY 1;
SELECT date_bin('6 hours', timestamp, timestamptz '2025-01-01 00:00+00') AS b, metric_name, max(metric_value) FROM metrics GROUP BY 1, 2;
SELECT extract(hour FROM timestamp) AS h, count(*) FILTER (WHERE metric_value > 60), count(*) FILTER (WHERE metric_value IS NULL) FROM metrics GROUP BY 1;
SELECT tags->>'dc' AS dc, tags->'rack' AS rack, count(*) FROM metrics GROUP BY 1, 2;
SELECT d.name, max(m.metric_value) FROM devices d LEFT JOIN metrics m USING (device_id) GROUP BY d.name;
SELECT d.name, m.metric_name, m.metric_value, t.warn FROM metrics m JOIN devices d USING (device_id) JOIN thresholds t USING (metric_name) WHERE m.metric_value > t.warn;
SELECT t.metric_name, count(m.*) FROM thresholds t LEFT JOIN metrics m ON m.metric_name = t.metric_name AND m.metric_value > t.crit GROUP BY t.metric_name;
SELECT m.metric_name, count(t.warn) FROM thresholds t FULL JOIN metrics m ON m.metric_name = t.metric_name GROUP BY m.metric_name;
SELECT device_id, metric_value, avg(metric_value) OVER (PARTITION BY device_id ORDER BY timestamp ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) FROM metrics;
-- @digits 10
SELECT timestamp, sum(metric_value) OVER (ORDER BY timestamp RANGE BETWEEN interval '1 hour' PRECEDING AND CURRENT ROW) FROM metrics;
SELECT device_id, first_value(metric_value) OVER w, last_value(metric_value) OVER w, nth_value(metric_value, 2) OVER w FROM metrics
WHERE metric_name = 'cpu' WINDOW w AS (PARTITION BY device_id ORDER BY timestamp ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING);
SELECT device_id, ntile(4) OVER (ORDER BY metric_id), cume_dist() OVER (ORDER BY metric_id), percent_rank() OVER (ORDER BY metric_id) FROM metrics WHERE metric_id < 50;
-- @ordered
SELECT device_id, timestamp, metric_value FROM metrics WHERE device_id = 3 ORDER BY timestamp DESC LIMIT 5;
-- @ordered
SELECT device_id, timestamp, metric_value FROM metrics ORDER BY metric_value DESC NULLS LAST, metric_id LIMIT 12;
-- @ordered
SELECT device_id, timestamp, metric_value FROM metrics ORDER BY metric_value, metric_id OFFSET 390;
-- @ordered
SELECT metric_value FROM metrics WHERE metric_value IS NOT NULL ORDER BY metric_value DESC FETCH FIRST 3 ROWS WITH TIES;
SELECT device_id, name, unnest(labels) AS label FROM devices;
SELECT label, count(*) FROM devices, unnest(labels) AS label GROUP BY label;
SELECT name FROM devices WHERE 'l1' = ANY (labels);
SELECT name, lat, lon, installed FROM devices WHERE lat > 4.4 AND lon < -1;
-- @digits 5
SELECT sum(lat), avg(lon), min(lat), max(lon) FROM devices;
SELECT installed, count(*) FROM devices GROUP BY installed HAVING installed > date '2024-06-01';
SELECT array_agg(DISTINCT metric_name ORDER BY metric_name) FROM metrics;
SELECT device_id, array_agg(metric_value ORDER BY timestamp) FROM metrics WHERE metric_id <= 60 GROUP BY device_id;
SELECT metric_name, string_agg(device_id::text, ',' ORDER BY device_id, metric_id) FROM metrics WHERE metric_id <= 40 GROUP BY metric_name;
SELECT jsonb_object_agg(name, lat) FROM devices WHERE device_id < 4;
SELECT max(timestamp) - min(timestamp) FROM metrics;
SELECT device_id, max(timestamp) FROM metrics GROUP BY device_id;
SELECT m.* FROM metrics m JOIN (SELECT device_id, max(timestamp) AS ts FROM metrics GROUP BY device_id) l ON m.device_id = l.device_id AND m.timestamp = l.ts;
SELECT a.device_id, count(*) FROM metrics a JOIN metrics b ON a.device_id = b.device_id AND b.timestamp > a.timestamp AND b.timestamp < a.timestamp + interval '3 hours' GROUP BY 1;
SELECT count(*) FROM metrics a JOIN metrics b ON a.metric_id = b.metric_id + 1;
SELECT timestamp AT TIME ZONE 'Asia/Shanghai' AS local, device_id FROM metrics WHERE metric_id < 10;
SET TIME ZONE 'America/New_York';
SELECT timestamp::text, date_trunc('day', timestamp) FROM metrics WHERE metric_id < 30;
SELECT date(timestamp), count(*) FROM metrics GROUP BY 1;
SET datestyle = 'SQL, DMY';
SELECT timestamp::text, timestamp FROM metrics WHERE metric_id < 5;
SET intervalstyle = 'iso_8601';
SELECT (max(timestamp) - min(timestamp))::text FROM metrics;
SET extra_float_digits = -5;
SELECT metric_value / 3, (metric_value / 3)::text FROM metrics WHERE metric_id < 10;
RESET ALL;
