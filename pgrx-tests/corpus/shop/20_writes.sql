-- @error 23514
INSERT INTO orders (customer_id, order_status) VALUES (1, 'lost');
-- @error 23514
UPDATE order_items SET quantity = 0 WHERE customer_id = 5;
-- @error 428C9
INSERT INTO order_items (order_id, customer_id, product_id, quantity, price, amount) VALUES (1, 1, 1, 1, 1, 1);
INSERT INTO order_items (order_id, customer_id, product_id, quantity, price) VALUES (1, 1, 1, 3, 2.5), (1, 2, 2, 4, 0.1) RETURNING customer_id, amount;
UPDATE order_items SET quantity = quantity + 1 WHERE customer_id = 1 RETURNING item_id, amount;
INSERT INTO orders VALUES (DEFAULT, 3, DEFAULT, 12.345, '2025-05-05 00:00+00') RETURNING *;
INSERT INTO orders (customer_id) SELECT customer_id FROM customers WHERE region = 'east' AND customer_id > 40 ORDER BY customer_id RETURNING order_id, customer_id, order_status;
INSERT INTO customers DEFAULT VALUES RETURNING customer_id, name;
UPDATE orders o SET total_amount = s.t FROM (SELECT customer_id, order_id, sum(amount) AS t FROM order_items GROUP BY 1, 2) s
WHERE s.customer_id = o.customer_id AND s.order_id = o.order_id;
UPDATE orders SET order_status = 'returned' WHERE order_id IN (SELECT order_id FROM order_items oi JOIN products p USING (product_id) WHERE p.category = 'cat1');
UPDATE products SET price = price * 1.1 WHERE category = 'cat2' RETURNING product_id, price;
UPDATE products p SET product_name = p.product_name || ' (sold ' || s.q || ')' FROM (SELECT product_id, sum(quantity) AS q FROM order_items GROUP BY 1) s WHERE s.product_id = p.product_id;
DELETE FROM order_items oi USING products p WHERE p.product_id = oi.product_id AND p.category = 'cat3';
DELETE FROM customers c WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = c.customer_id) RETURNING customer_id;
DELETE FROM carts WHERE customer_id NOT IN (SELECT customer_id FROM customers);
WITH gone AS (DELETE FROM orders WHERE order_status = 'returned' AND customer_id < 20 RETURNING *)
SELECT count(*), sum(total_amount) FROM gone;
WITH moved AS (UPDATE orders SET order_status = 'shipped' WHERE order_status = 'paid' RETURNING customer_id, order_id)
INSERT INTO order_items (order_id, customer_id, product_id, quantity, price) SELECT order_id, customer_id, 1, 1, 0 FROM moved ORDER BY customer_id, order_id;
WITH a AS (INSERT INTO carts VALUES (md5('w1')::uuid, 1, 'w1') RETURNING *), b AS (INSERT INTO carts VALUES (md5('w2')::uuid, 2, 'w2') RETURNING *)
SELECT * FROM a UNION ALL SELECT * FROM b;
MERGE INTO carts k USING (VALUES (md5('cart1')::uuid, 'merged'), (md5('brand new')::uuid, 'new')) v(id, note) ON k.cart_id = v.id
WHEN MATCHED THEN UPDATE SET note = v.note WHEN NOT MATCHED THEN INSERT VALUES (v.id, 5, v.note);
MERGE INTO customers c USING orders o ON c.customer_id = o.customer_id AND o.order_id = 200
WHEN MATCHED THEN UPDATE SET region = 'merged';
MERGE INTO orders o USING (SELECT customer_id, count(*) AS n FROM order_items GROUP BY customer_id) s ON o.customer_id = s.customer_id AND o.order_status = 'new'
WHEN MATCHED AND s.n > 5 THEN DELETE WHEN MATCHED THEN UPDATE SET order_status = 'paid' WHEN NOT MATCHED THEN DO NOTHING;
MERGE INTO products p USING products q ON p.product_id = q.product_id + 20 WHEN MATCHED THEN UPDATE SET category = q.category WHEN NOT MATCHED THEN INSERT (product_id, product_name) VALUES (1000 + q.product_id, 'm' || q.product_id);
INSERT INTO carts SELECT md5('c' || customer_id)::uuid, customer_id, name FROM customers;
INSERT INTO carts SELECT * FROM carts ON CONFLICT (cart_id) DO UPDATE SET note = excluded.note || '!';
INSERT INTO customers (name, region) SELECT note, count(*)::text FROM carts GROUP BY note ORDER BY note;
INSERT INTO products (product_name, category, price) SELECT name, region, customer_id FROM customers WHERE customer_id % 9 = 0 ORDER BY customer_id;
INSERT INTO customers (name) SELECT product_name FROM products WHERE product_id < 4 ORDER BY product_id;
TRUNCATE carts;
SELECT count(*) FROM carts;
