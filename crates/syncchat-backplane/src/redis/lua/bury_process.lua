-- Buries a process whose lease has ended. Whoever is told 1 tells of its people; nobody else is.
--   KEYS[1]  as in renew_lease.lua
--   ARGV[1]  the process
--   ARGV[2]  milliseconds after which a buried one is forgotten
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '(' .. (tonumber(ARGV[2]) - now), '(0')
local lease = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not lease or tonumber(lease) < 0 or tonumber(lease) > now then
  return 0
end
redis.call('ZADD', KEYS[1], -now, ARGV[1])
return 1
