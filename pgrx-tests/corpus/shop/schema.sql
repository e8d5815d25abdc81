-- The shop: customers, orders and items by customer, products everywhere.
CREATE TABLE customers (
    customer_id BIGSERIAL PRIMARY KEY,
    email VARCHAR(255),
    name VARCHAR(100),
    region VARCHAR(50)
);
-- @distribute customers customer_id
CREATE TABLE orders (
    order_id BIGSERIAL,
    customer_id BIGINT NOT NULL,
    order_status VARCHAR(20) DEFAULT 'new' CHECK (order_status IN ('new', 'paid', 'shipped', 'returned')),
    total_amount DECIMAL(12,2),
    created_at TIMESTAMPTZ,
    PRIMARY KEY (customer_id, order_id)
);
-- @distribute orders customer_id colocate customers
CREATE TABLE order_items (
    item_id BIGSERIAL,
    order_id BIGINT NOT NULL,
    customer_id BIGINT NOT NULL,
    product_id INT NOT NULL,
    quantity INT CONSTRAINT quantity_positive CHECK (quantity > 0),
    price DECIMAL(10,2),
    amount DECIMAL(12,2) GENERATED ALWAYS AS (quantity * price) STORED,
    PRIMARY KEY (customer_id, item_id)
);
-- @distribute order_items customer_id colocate orders
CREATE TABLE products (
    product_id SERIAL PRIMARY KEY,
    product_name VARCHAR(200),
    category VARCHAR(100),
    price DECIMAL(10,2)
);
-- @reference products
CREATE TABLE carts (cart_id UUID PRIMARY KEY, customer_id BIGINT, note TEXT);
-- @distribute carts cart_id
INSERT INTO customers (email, name, region) SELECT 'c' || i || '@shop.example', 'Customer ' || i, (ARRAY['north', 'south', 'east', NULL])[1 + i % 4] FROM generate_series(1, 60) i;
INSERT INTO products (product_name, category, price) SELECT 'Product ' || i, 'cat' || i % 5, (i * 7 % 50) + 0.99 FROM generate_series(1, 25) i;
INSERT INTO orders (customer_id, order_status, total_amount, created_at)
SELECT 1 + (i * i) % 60, (ARRAY['new', 'paid', 'shipped', 'returned'])[1 + i % 4], CASE WHEN i % 13 <> 0 THEN (i * 31 % 5000) / 7.0 END, timestamptz '2025-01-01 00:00+00' + i * interval '5 hours'
FROM generate_series(1, 200) i;
INSERT INTO order_items (order_id, customer_id, product_id, quantity, price)
SELECT o.order_id, o.customer_id, 1 + (o.order_id * n) % 25, n, (o.order_id % 19) + 0.5 FROM orders o, generate_series(1, 3) n WHERE o.order_id % 9 <> 0 ORDER BY o.order_id, n;
INSERT INTO carts SELECT md5('cart' || i)::uuid, i % 70, repeat('x', i % 7) FROM generate_series(1, 80) i;
