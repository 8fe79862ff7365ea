-- Renews a process's lease, by this server's clock, which all nodes share.
--   KEYS[1]  the sorted set of processes by the millisecond their lease ends
--   ARGV[1]  the process
--   ARGV[2]  milliseconds the lease lasts
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
return redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
