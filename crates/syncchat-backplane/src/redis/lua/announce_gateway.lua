-- Renews a gateway's entry by this server's clock, and forgets those whose lease has ended.
--   KEYS[1]  the sorted set of gateways by the millisecond their lease ends
--   ARGV[1]  the gateway: its name and address
--   ARGV[2]  milliseconds the lease lasts
--   ARGV[3]  milliseconds the set lasts if nobody renews anything
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
return redis.call('PEXPIRE', KEYS[1], ARGV[3])
