-- One token bucket, refilled evenly by this server's clock.
--   KEYS[1]  the bucket: a hash of tokens and the microsecond they were counted at
--   ARGV[1]  tokens a second
--   ARGV[2]  tokens in a full bucket
--   ARGV[3]  1 to take a token, 0 to see whether there is one
-- Returns 0 if there is one, else the milliseconds until there is.
local rate, burst, take = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local bucket = redis.call('HMGET', KEYS[1], 't', 'at')
local tokens = tonumber(bucket[1]) or burst
local passed = math.max(0, now - (tonumber(bucket[2]) or now))
tokens = math.min(burst, tokens + passed * rate / 1000000)
if tokens < 1 then
  return math.ceil((1 - tokens) * 1000 / rate)
end
if take == 1 then
  redis.call('HSET', KEYS[1], 't', tokens - 1, 'at', now)
  -- A bucket that would be full again is as good as none.
  redis.call('PEXPIRE', KEYS[1], math.ceil((burst - tokens + 1) * 1000 / rate) + 1000)
end
return 0
