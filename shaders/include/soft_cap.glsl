// cap tanh(x / cap), by an exponential that never sees a positive argument.   Twin: cl/include/soft_cap.h
vec4 bm_soft_cap(vec4 x, float cap)
{
    const vec4 e = exp(abs(x) * (-2.0 / cap));
    return sign(x) * (cap * ((1.0 - e) / (1.0 + e)));
}

float bm_soft_cap(float x, float cap)
{
    return bm_soft_cap(vec4(x), cap).x;
}
