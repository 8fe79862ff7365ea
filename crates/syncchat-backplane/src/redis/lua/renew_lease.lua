-- Renews a process's lease, by this server's clock, which all nodes share.
--   KEYS[1]  the sorted set of processes by the millisecond their lease ends; of buried ones by the
--            one they were buried at, negative
--   ARGV[1]  the process
--   ARGV[2]  milliseconds the lease lasts
-- Returns 1 if it was buried alive: its people are believed to be gone.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local lease = redis.call('ZSCORE', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
return (lease and tonumber(lease) < 0) and 1 or 0
