-- Gateways whose lease runs, by this server's clock.
--   KEYS[1]  the sorted set of gateways by the millisecond their lease ends
--   ARGV[1]  how many at most
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
return redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf', 'LIMIT', 0, ARGV[1])
