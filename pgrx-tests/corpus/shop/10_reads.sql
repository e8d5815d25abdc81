-- @ordered
SELECT c.name AS customer_name, o.order_id, o.created_at, p.product_name, oi.quantity, oi.price
FROM customers c
JOIN orders o ON c.customer_id = o.customer_id
JOIN order_items oi ON o.customer_id = oi.customer_id AND o.order_id = oi.order_id
JOIN products p ON oi.product_id = p.product_id
WHERE c.customer_id = 5 AND o.created_at >= '2025-01-01'
ORDER BY o.created_at DESC, oi.item_id;
SELECT c.region, count(DISTINCT c.customer_id), count(o.order_id), sum(o.total_amount) FROM customers c LEFT JOIN orders o USING (customer_id) GROUP BY c.region;
SELECT c.customer_id, sum(oi.amount) FROM customers c JOIN orders o USING (customer_id) JOIN order_items oi USING (customer_id, order_id) GROUP BY c.customer_id HAVING sum(oi.amount) > 100;
SELECT p.category, sum(oi.quantity), sum(oi.amount), avg(oi.price) FROM order_items oi JOIN products p USING (product_id) GROUP BY p.category;
SELECT p.product_name FROM products p WHERE NOT EXISTS (SELECT 1 FROM order_items oi WHERE oi.product_id = p.product_id AND oi.quantity > 2);
SELECT p.product_id, p.product_name, s.n FROM products p LEFT JOIN (SELECT product_id, count(*) AS n FROM order_items GROUP BY product_id) s USING (product_id);
-- Keys that are not colocated.
SELECT c.name, k.cart_id FROM customers c JOIN carts k USING (customer_id);
SELECT c.name, count(k.cart_id) FROM customers c LEFT JOIN carts k ON k.customer_id = c.customer_id GROUP BY c.name;
SELECT c.name, k.cart_id FROM customers c RIGHT JOIN carts k ON k.customer_id = c.customer_id;
SELECT c.customer_id, k.customer_id FROM customers c FULL JOIN carts k ON k.customer_id = c.customer_id;
SELECT count(*) FROM carts k WHERE customer_id IN (SELECT customer_id FROM orders WHERE order_status = 'paid');
SELECT count(*) FROM carts k WHERE NOT EXISTS (SELECT 1 FROM customers c WHERE c.customer_id = k.customer_id);
SELECT k.note, o.order_status, count(*) FROM carts k JOIN orders o ON o.order_id = k.customer_id GROUP BY 1, 2;
SELECT o1.order_id, o2.order_id FROM orders o1 JOIN orders o2 ON o1.order_id = o2.order_id + 1 AND o1.order_status = o2.order_status;
SELECT o1.order_id, o2.order_id FROM orders o1 JOIN orders o2 ON o1.customer_id = o2.customer_id AND o1.order_id < o2.order_id;
SELECT o1.customer_id FROM orders o1 JOIN orders o2 ON o1.customer_id > o2.customer_id AND o2.customer_id < 3 AND o1.order_id < 10;
SELECT * FROM carts WHERE cart_id = md5('cart3')::uuid;
SELECT * FROM carts WHERE cart_id = 'dfe2a9b1-0000-0000-0000-000000000000';
SELECT * FROM carts WHERE cart_id IN (md5('cart3')::uuid, md5('cart4')::uuid);
-- @ordered
SELECT cart_id FROM carts ORDER BY cart_id LIMIT 5;
SELECT order_status, count(*), sum(total_amount), avg(total_amount), min(total_amount), max(total_amount) FROM orders GROUP BY order_status;
SELECT sum(total_amount), avg(total_amount), count(total_amount), count(*) FROM orders;
SELECT avg(quantity), sum(quantity), avg(order_id), sum(order_id), sum(item_id::numeric) FROM order_items;
SELECT round(stddev(total_amount), 6), round(variance(total_amount), 4), round(stddev_pop(quantity), 8) FROM orders JOIN order_items USING (customer_id, order_id);
SELECT date_trunc('month', created_at) AS m, order_status, count(*) FROM orders GROUP BY 1, 2;
-- @ordered
SELECT customer_id, sum(total_amount) AS s FROM orders GROUP BY customer_id ORDER BY s DESC NULLS LAST, customer_id LIMIT 5;
-- @ordered
SELECT o.order_id, c.name FROM orders o JOIN customers c USING (customer_id) ORDER BY o.order_id DESC LIMIT 10 OFFSET 3;
SELECT customer_id, order_id, total_amount, sum(total_amount) OVER (PARTITION BY customer_id ORDER BY order_id) FROM orders;
SELECT order_id, total_amount, total_amount - lag(total_amount) OVER (ORDER BY order_id) AS diff FROM orders;
SELECT customer_id, order_id FROM (SELECT customer_id, order_id, row_number() OVER (PARTITION BY customer_id ORDER BY created_at DESC) AS rn FROM orders) r WHERE rn = 1;
SELECT category, product_name, rank() OVER (PARTITION BY category ORDER BY sum(oi.amount) DESC, product_name) FROM products p JOIN order_items oi USING (product_id) GROUP BY 1, 2;
SELECT region, order_status, sum(total_amount), grouping(region), grouping(order_status) FROM customers JOIN orders USING (customer_id) GROUP BY ROLLUP (region, order_status);
SELECT customer_id, sum(total_amount) FROM orders GROUP BY GROUPING SETS ((customer_id), ());
WITH RECURSIVE chain AS (
    SELECT order_id, customer_id, 1 AS depth FROM orders WHERE order_id = 1
    UNION ALL SELECT o.order_id, o.customer_id, chain.depth + 1 FROM orders o JOIN chain ON o.order_id = chain.order_id + 7 WHERE chain.depth < 10)
SELECT * FROM chain;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10)
SELECT n.i, count(o.order_id) FROM n LEFT JOIN orders o ON o.customer_id = n.i GROUP BY n.i;
WITH big AS (SELECT * FROM orders WHERE total_amount > 300), per AS (SELECT customer_id, count(*) AS n FROM big GROUP BY customer_id)
SELECT c.name, per.n FROM per JOIN customers c USING (customer_id);
SELECT name, (SELECT product_name FROM products WHERE product_id = customers.customer_id) AS p FROM customers WHERE customer_id < 30;
SELECT name FROM customers c WHERE (SELECT count(*) FROM orders o WHERE o.customer_id = c.customer_id) > 4;
SELECT name FROM customers c WHERE 200 < ANY (SELECT total_amount FROM orders o WHERE o.customer_id = c.customer_id);
SELECT name FROM customers c WHERE 'paid' <> ALL (SELECT order_status FROM orders o WHERE o.customer_id = c.customer_id);
SELECT order_id FROM orders WHERE total_amount = (SELECT max(total_amount) FROM orders);
SELECT (SELECT count(*) FROM customers), (SELECT count(*) FROM orders), (SELECT sum(price) FROM products);
SELECT CASE WHEN total_amount > 100 THEN 'big' WHEN total_amount IS NULL THEN 'none' ELSE 'small' END AS size, count(*) FROM orders GROUP BY 1;
SELECT coalesce(region, 'nowhere') AS r, count(*) FROM customers GROUP BY r;
SELECT c.region, array_agg(c.customer_id ORDER BY c.customer_id) FROM customers c GROUP BY c.region;
SELECT region, string_agg(name, '; ' ORDER BY customer_id DESC) FROM customers GROUP BY region;
SELECT json_agg(json_build_object('id', order_id, 'amount', total_amount) ORDER BY order_id) FROM orders WHERE customer_id = 17;
SELECT bool_and(quantity < 4), bool_or(quantity > 2), every(price > 0), bit_and(quantity), bit_or(quantity), bit_xor(item_id) FROM order_items;
SELECT product_id, count(*) FROM order_items WHERE customer_id IN (SELECT customer_id FROM customers WHERE region = 'north') GROUP BY product_id;
SELECT c.*, o.* FROM customers c, LATERAL (SELECT order_id, total_amount FROM orders o WHERE o.customer_id = c.customer_id ORDER BY total_amount DESC NULLS LAST, order_id LIMIT 2) o WHERE c.customer_id < 20;
SELECT p.product_name, l.q FROM products p CROSS JOIN LATERAL (SELECT sum(quantity) AS q FROM order_items oi WHERE oi.product_id = p.product_id) l;
SELECT * FROM (VALUES (1, 'one'), (2, 'two'), (99, 'none')) v(id, label) LEFT JOIN customers c ON c.customer_id = v.id;
SELECT order_id FROM orders WHERE (customer_id, order_status) IN (VALUES (2::bigint, 'paid'), (5, 'new'), (10, 'shipped'));
SELECT order_id FROM orders WHERE (customer_id, order_id) > (50, 100);
SELECT order_id FROM orders WHERE created_at::date = date '2025-01-03';
SELECT o.order_id FROM orders o TABLESAMPLE SYSTEM (100) WHERE o.customer_id = 5;
SELECT c.customer_id FROM customers c WHERE customer_id = 3 AND customer_id = 4;
SELECT count(*), sum(customer_id) FROM customers WHERE customer_id = 3 AND customer_id = 4;
SELECT count(*) FROM orders WHERE false;
SELECT 1 AS one FROM customers WHERE customer_id = 3;
SELECT count(*) FROM customers, products WHERE customer_id < 5 AND product_id < 5;
SELECT DISTINCT c.region, p.category FROM customers c JOIN order_items oi USING (customer_id) JOIN products p USING (product_id);
SELECT count(DISTINCT product_id), count(DISTINCT customer_id), sum(DISTINCT quantity) FROM order_items;
SELECT customer_id, count(DISTINCT product_id) FROM order_items GROUP BY customer_id;
SELECT order_status, count(DISTINCT customer_id) FROM orders GROUP BY order_status;
-- Rows of a sub-query that is sorted by what it does not show: JSON of them has its columns only.
-- @ordered
SELECT row_to_json(q) FROM (SELECT customer_id, name FROM customers ORDER BY email DESC) q LIMIT 7;
-- @ordered
SELECT q FROM (SELECT max(name) FROM customers GROUP BY customer_id ORDER BY customer_id) q;
-- @ordered
SELECT (SELECT row_to_json(q)) FROM (SELECT name FROM customers ORDER BY customer_id LIMIT 9) q;
-- @ordered
SELECT to_jsonb(outside) FROM (SELECT q.* FROM (SELECT name FROM customers ORDER BY customer_id DESC) q) outside LIMIT 5;
SELECT json_agg(q) FROM (SELECT name FROM customers ORDER BY customer_id) q;
SELECT count(q), count(DISTINCT q) FROM (SELECT region FROM customers ORDER BY customer_id) q;
WITH q AS (SELECT region, name FROM customers ORDER BY customer_id) SELECT q FROM q WHERE q.region = 'north';
SELECT c.name, (SELECT json_agg(o) FROM (SELECT order_id FROM orders WHERE customer_id = c.customer_id ORDER BY created_at, order_id) o) FROM customers c;
SELECT c.name, o.j FROM customers c, LATERAL (SELECT row_to_json(x) AS j FROM (SELECT order_id, order_status FROM orders WHERE customer_id = c.customer_id ORDER BY total_amount, order_id LIMIT 2) x) o;
