SELECT create_reference_table('airlines');
SELECT create_reference_table('airports');
SELECT create_distributed_table('flights', 'tailnum');
SELECT create_distributed_table('planes', 'tailnum', colocate_with => 'flights');
