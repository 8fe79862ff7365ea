-- Processes whose lease runs (ARGV[1] = 'live') or has ended ('dead'), by this server's clock.
--   KEYS[1]  as in renew_lease.lua
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
if ARGV[1] == 'live' then
  return redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf')
end
return redis.call('ZRANGEBYSCORE', KEYS[1], 0, now)
